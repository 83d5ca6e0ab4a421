"""Dual-scale multi-task (DSMT) classification of pulmonary nodules as an extension of nnU-Net v2.

`import dsmt_nnunet as dsmt` is the door for Python users; `__init__.pyi` lists its names, which are imported when they
are first asked for.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("dsmt-nnunet")

NOT_A_MEDICAL_DEVICE = "Research use only. Not a medical device."

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["NOT_A_MEDICAL_DEVICE", "__version__"]
