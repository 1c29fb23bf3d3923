#!/bin/sh
# Reads an input first: a build that downloads as little as possible has to fetch it for this run.
echo "large.bin has $(wc -c < shapes/large.bin) bytes"
exit 1
