# DSMT for nnU-Net. CUDA: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu124 -t dsmt .
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home dsmt && mkdir /data && chown dsmt /data
WORKDIR /opt/dsmt
RUN pip install --no-cache-dir torch --index-url "${TORCH_INDEX}"
COPY . .
RUN pip install --no-cache-dir '.[dicom,archive]'

# nnU-Net's folders; mount your data there.
ENV nnUNet_raw=/data/nnUNet_raw \
    nnUNet_preprocessed=/data/nnUNet_preprocessed \
    nnUNet_results=/data/nnUNet_results
USER dsmt
WORKDIR /data
ENTRYPOINT ["dsmt"]
CMD ["--help"]
