# Cocite Atlas in a container, with the default atlas assembled inside:
#   docker build -t cocite-atlas .
#   docker run --rm -p 8501:8501 -v cocite-atlas:/data cocite-atlas      then open http://localhost:8501
#
# torch's usual Linux wheel brings CUDA (for `docker run --gpus all`) and several GB with it. For a small image without a
# GPU, pass the package index of PyTorch's CPU wheels (its install page names it):
#   docker build --build-arg TORCH_INDEX=<that index> -t cocite-atlas .

FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# hnswlib otherwise compiles for the very processor of the build machine, and dies on an older one.
ENV HNSWLIB_NO_NATIVE=1
COPY requirements.txt .
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --index-url "$TORCH_INDEX" "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)"; \
    fi \
    && pip install -r requirements.txt


FROM python:3.11-slim
# The home folder is not decoration: numba keeps what it compiles there, since the packages' own folder is read-only.
RUN useradd --create-home --uid 10001 atlas \
    && install -d -o atlas -g atlas /data
COPY --from=build /opt/venv /opt/venv
# What is built or read in at run time goes to /data; the program itself stays read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    COCITE_ATLAS_HOME=/data
WORKDIR /app
COPY . .
USER atlas
# Assembles the default atlas from the shipped vectors and the installed texts, so that the first page is quick.
RUN python -m corpus info medline
# After the line above: what is written to a volume's folder later in a build is dropped. A new named volume starts with
# the atlas inside; a folder of the host mounted here starts empty (make it writable for uid 10001), and the app then
# assembles the atlas at its first start.
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "streamlit", "run", "app.py", "--server.address=0.0.0.0", "--server.port=8501", "--server.headless=true"]
