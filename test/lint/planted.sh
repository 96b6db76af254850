#!/usr/bin/env bash
# A mistake that shellcheck must find: the name is split into words.
rm -f $1
