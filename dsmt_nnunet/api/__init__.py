"""The door for Python users: what `import dsmt_nnunet as dsmt` offers.

Load a model, ask it about scans in memory, evaluate arrays, build a report; no environment variable is read and no
folder of nnU-Net's is needed. `dsmt_nnunet/__init__.pyi` lists the names that are kept stable. Other rooms do not
import this one.
"""
