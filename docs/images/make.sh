#!/usr/bin/env bash
# Draws the pictures of the documentation anew, from the slides in examples/. Run it in the project's folder.
set -euo pipefail
images=docs/images
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
ats heatmap examples/digits.tif -m megapixel-digits -o $images/digits.png --max-size 700
ats predict examples/CMU-1-Small-Region.svs -o "$run" --save-tiles --report
ats heatmap "$run" -o $images/cmu-1.png --max-size 700
ats heatmap "$run" -o $images/cmu-1-evidence.png --what evidence --alpha 0.8 --max-size 700
cp "$run/slides/CMU-1-Small-Region/contact-sheet.png" $images/cmu-1-tiles.png
chromium --headless --no-sandbox --hide-scrollbars --window-size=1200,1830 --screenshot=$images/report.png \
    "file://$run/report.html"
