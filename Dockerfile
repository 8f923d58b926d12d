# One image for the operator, the workers and the command line:
#
#     docker build --tag onebyte:0.1.0 .
#
# For NVIDIA GPUs with CUDA 12 and cuDNN 9:
#
#     docker build --tag onebyte:0.1.0-cuda12 --build-arg CUDA=12 \
#       --build-arg BASE=nvidia/cuda:12.9.1-cudnn-runtime-ubuntu24.04 .
#
# No stage needs the network but for packages of npm (and, with CUDA, onnxruntime's own download).

# Where Node comes from, and what everything is put on: any Linux with glibc and libstdc++.
ARG NODE=node:24-bookworm-slim
ARG BASE=debian:bookworm-slim

FROM ${NODE} AS build
WORKDIR /onebyte
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY crds ./crds
COPY worker ./worker
COPY operator ./operator
COPY cli ./cli
RUN npm run build

FROM ${NODE} AS packages
WORKDIR /onebyte
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=dev --omit=optional
ARG CUDA=
RUN if [ -n "$CUDA" ]; then ONNXRUNTIME_NODE_INSTALL="cuda$CUDA" node node_modules/onnxruntime-node/script/install; fi
# Of native code only this platform's, and nothing that only people or compilers read. Licences stay.
RUN set -eu; \
    here="linux/$(node -p process.arch)"; \
    runtime=node_modules/onnxruntime-node/bin/napi-v6; \
    find "$runtime" -mindepth 2 -maxdepth 2 -type d ! -path "$runtime/$here" -exec rm -rf {} +; \
    find "$runtime" -mindepth 1 -maxdepth 1 -type d -empty -delete; \
    find node_modules -type f ! -iname 'licen[sc]e*' ! -iname 'notice*' \
      \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' -o -name '*.md' \) -delete

FROM ${BASE}
LABEL org.opencontainers.image.title=onebyte \
      org.opencontainers.image.description="Fine-tune language models across workers that exchange one byte per probe" \
      org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=packages /onebyte/node_modules /opt/onebyte/node_modules
COPY --from=build /onebyte/dist /opt/onebyte/dist
COPY LICENSE /opt/onebyte/LICENSE
RUN ln -s /opt/onebyte/dist/main.js /usr/local/bin/onebyte && install -d -o 65532 -g 65532 /var/cache/onebyte /data
# Why: worker/process-settings.ts
ENV NODE_ENV=production ORT_DISABLE_TELEMETRY=1 MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=32768 \
    MALLOC_TRIM_THRESHOLD_=65536 ONEBYTE_CACHE=/var/cache/onebyte
# Nobody's: no name is needed. The root file system may be read-only; what is written goes to the cache, /tmp and --out.
USER 65532:65532
WORKDIR /data
ENTRYPOINT ["onebyte"]
