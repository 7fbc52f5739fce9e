#!/usr/bin/env bash
# The paper's network (lsp-b, 62.6 M parameters) on LSP + LSPET, fully trained on one large GPU.
#
#   recipes/lsp_b_gpu.sh DATA OUT [SECONDS] [more options of sadinet train ...]
#
# Runs at most SECONDS (default 560), then stops cleanly; call it again with the same OUT to go on, as often as
# needed: nothing is lost between the pieces. When the last epoch is done it writes the float16 weights without
# the training-only parts, cut into parts of at most 16 MB, to OUT/home, with the log.
# Put the parts together with: cat lsp-b.safetensors.part-* > lsp-b.safetensors
#
# The schedule: 60 epochs of 64 persons, cosine, EMA, sub-pixel targets, stronger augmentation. For the paper's own
# (210 epochs, steps) add: --set training.epochs=210 --set training.schedule=steps --set training.ema=0
# On small networks a tenth of the weight of the learnable heatmaps was much better (docs/lab.md): --set loss.alpha=0.1
set -euo pipefail
data=$1 out=$2 seconds=${3:-560}
shift 2; [ $# -gt 0 ] && shift

code=0
timeout --signal=TERM --kill-after=30 "$seconds" python -m sadinet train lsp-b --data "$data" --out "$out" \
  --resume --quiet --save-every 120 --workers 8 \
  --set training.epochs=60 --set training.schedule=cosine --set training.warmup_epochs=1 \
  --set training.learning_rate=0.001 --set training.ema=0.999 --set training.precision=bfloat16 \
  --set loss.target=unbiased --set decoding=dark \
  --set data.augment.rotation=40 --set data.augment.scale=0.7,1.3 --set data.augment.gain=0.2 \
  "$@" || code=$?
# 143: stopped by the time limit after storing its state; 124: the same, as timeout tells it.
if [ "$code" -ne 0 ] && [ "$code" -ne 143 ] && [ "$code" -ne 124 ]; then exit "$code"; fi

mkdir -p "$out/home"
cp "$out/log.jsonl" "$out/experiment.json" "$out/home/" 2>/dev/null || true
if [ "$code" -eq 0 ]; then
  python -m sadinet export "$out" "$out/home/lsp-b.safetensors" --half
  (cd "$out/home" && rm -f ./*.part-* && sha256sum lsp-b.safetensors > lsp-b.sha256 &&
    split --bytes=16000000 --numeric-suffixes lsp-b.safetensors lsp-b.safetensors.part- && rm lsp-b.safetensors)
  echo "finished: $out/home"
else
  echo "not finished: call again with the same folder"
fi
