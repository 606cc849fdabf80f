#!/usr/bin/env bash
# Package this folder as a MONAI application package (MAP): an image that takes /input and gives /output.
#
#     ./package.sh [TAG] [PLATFORM]
#
# Needs docker, and monai-deploy-app-sdk with holoscan-cli in the current environment. Where mose-med is on no index,
# name its wheel in requirements.txt instead.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec monai-deploy package "$here" --config "$here/app.yaml" --tag "${1:-mose-med:@VERSION@}" \
    --platform "${2:-x64-workstation}" --models "$here/models"
