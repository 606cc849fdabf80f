#!/usr/bin/env bash
# Start the server of MONAI Label with this app, in an environment that is made on first use.
#
#     ./start.sh STUDIES [options of monailabel start_server, such as --port 8000 --host 0.0.0.0 --conf device cpu]
#
# STUDIES is a folder of NIfTI files, or the URL of a DICOMweb archive. MOSE_MED_PYTHON names the Python that has
# mose-med[dicom,mlflow], MOSE_MED_LABEL_ENV the folder of the environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
studies=${1:?usage: start.sh STUDIES [options]}
shift
python=${MOSE_MED_PYTHON:-@PYTHON@}
env=${MOSE_MED_LABEL_ENV:-$here/env}
if ! cmp -s "$here/requirements.txt" "$env/made-of.txt"; then
    rm -rf "$env"
    "$python" -m venv "$env"
    site=$("$env/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
    "$python" -P -c "
import pathlib, sys, mose_med
home = str(pathlib.Path(mose_med.__file__).parents[1])
print(*dict.fromkeys([home, *(path for path in sys.path if path.endswith('site-packages'))]), sep='\n')
" > "$site/zz_mose_med.pth"
    "$env/bin/python" -m pip install --quiet --no-deps -r "$here/requirements.txt"
    # pydicom-seg looks for a module that pydicom 3 no longer has.
    cp "$here/pydicom_2_names.py" "$site"
    echo "import pydicom_2_names" > "$site/zz_pydicom_2_names.pth"
    cp "$here/requirements.txt" "$env/made-of.txt"
fi
# Scoring infers every image: it is done when a client asks for it, not after each label.
export MONAI_LABEL_AUTO_UPDATE_SCORING=${MONAI_LABEL_AUTO_UPDATE_SCORING:-false}
exec "$env/bin/python" -m monailabel.main start_server --app "$here" --studies "$studies" --host 127.0.0.1 "$@"
