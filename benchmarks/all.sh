#!/usr/bin/env bash
# All the measurements of a processor, one after the other, on an otherwise idle machine; then the pages are filled.
#
#   benchmarks/all.sh DATA MODELS
#
# DATA holds lsp/, lspet/ and coco/; MODELS the peers' .tflite files and yolox_nano.onnx. About half an hour on 2 cores.
# `benchmarks/peers/run.py` is apart: it needs LiteRT.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
data=$1 models=$2 out=benchmarks/results python=${PYTHON:-python}

together() { # FILE: gathers the lines of JSON that come, whole or not at all
  cat > "$out/.new" && mv "$out/.new" "$out/$1"
}

$python benchmarks/inference_profile.py --models lsp-t lsp-s lsp-b --batch 1 16 --rounds 9 --out "$out/inference_profile.json"
{
  $python benchmarks/predict_overhead.py --rounds 9
  $python benchmarks/predict_overhead.py --preset lsp-b --rounds 3
} | together predict_overhead.jsonl
{
  $python benchmarks/video.py --frames 240 --persons 2 --rounds 5 --flip
  $python benchmarks/video.py --frames 240 --persons 4 --rounds 5 --flip
  $python benchmarks/video.py --frames 240 --persons 2 --rounds 5 --flip --detector "$models/yolox_nano.onnx"
  $python benchmarks/video.py --preset lsp-b --frames 60 --persons 2 --rounds 3
} | together video.jsonl
$python benchmarks/startup.py --rounds 5 | together startup.json
{
  $python benchmarks/onnx_parity.py "$data" --crops 200
  $python benchmarks/onnx_parity.py "$data" --crops 200 --int8
} | together onnx_parity.jsonl
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456
{
  $python benchmarks/training_speed.py "$data" --preset lsp-t-rfm --batch 32 --steps 5 --rounds 7 \
    --set training.precision=bfloat16 --set network.input_size=192
  $python benchmarks/training_speed.py "$data" --preset lsp-b --batch 8 --steps 2 --rounds 3 \
    --set training.precision=bfloat16
} | together training_speed.jsonl
unset MALLOC_MMAP_MAX_ MALLOC_TRIM_THRESHOLD_ MALLOC_TOP_PAD_
$python benchmarks/test_time.py "$data" --weights lsp-t --out "$out/test_time.json"
for margin in 1.05 1.25; do
  $python benchmarks/detector_coco.py "$data" --detector "$models/yolox_nano.onnx" --margin "$margin"
done | together detector_coco.jsonl
$python benchmarks/video.py --soak 10000 --size 320x240 --persons 1 | together soak.json
$python docs/tables.py
