#!/bin/sh
# Fails where the committed code is not what proto/ generates: check.sh PYTHON COMMITTED
set -eu
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
sh "$(dirname "$0")/generate.sh" "$1" "$fresh" >/dev/null 2>&1
for file in "$fresh"/imagesieve/v1/*; do
    cmp -s "$file" "$2/imagesieve/v1/$(basename "$file")" || {
        echo "$2/imagesieve/v1/$(basename "$file") is stale; run: make proto" >&2
        exit 1
    }
done
