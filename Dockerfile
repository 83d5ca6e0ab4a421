# DSMT for nnU-Net. CUDA: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu124 -t dsmt .
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 dsmt && mkdir /data && chown dsmt /data
WORKDIR /opt/dsmt
RUN pip install --no-cache-dir "torch>=2.1.2" --index-url "${TORCH_INDEX}"
COPY . .
# pyproject.toml says which versions.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[dicom,archive]'

# nnU-Net's folders; mount your data there.
ENV nnUNet_raw=/data/nnUNet_raw \
    nnUNet_preprocessed=/data/nnUNet_preprocessed \
    nnUNet_results=/data/nnUNet_results
USER 1000
WORKDIR /data
ENTRYPOINT ["dsmt"]
# What grand-challenge and MHub start; any other command of dsmt may follow the name of the image instead.
CMD ["container"]
