#!/bin/sh
# Removes virtual environments: remove-venv.sh FOLDER...
# A folder that is something else stays, which is said. pyvenv.cfg, by which an environment is
# known, goes last: one whose removal was interrupted is known to the next.
set -u
stays=0
for folder do
    if [ -e "$folder/pyvenv.cfg" ]; then
        find "$folder" -mindepth 1 -maxdepth 1 ! -name pyvenv.cfg -exec rm -rf {} + &&
            rm -rf "$folder" || stays=1
    elif [ ! -e "$folder" ]; then
        rm -f "$folder" # nothing, or a link to nothing
    elif ! rmdir "$folder" 2>/dev/null; then
        echo "$folder is in use and no virtual environment: it stays." >&2
        stays=1
    fi
done
exit $stays
