#!/usr/bin/env bash
# Installs the Debian packages named, if any is missing: says which, asks at a terminal only (YES=1 does not ask).
set -euo pipefail
missing=()
for package in "$@"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "frazil needs these Debian packages: ${missing[*]}"
if [ -t 0 ] && [ "${YES:-}" != 1 ]; then
  read -r -p "install them with apt-get? [y/N] " answer
  [[ $answer == [yY]* ]] || { echo "nothing installed; install them yourself and run make again"; exit 1; }
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "neither root nor sudo: run as root: apt-get install ${missing[*]}"; exit 1; }
  sudo=(sudo)
fi
"${sudo[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
