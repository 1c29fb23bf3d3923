#!/bin/sh
set -eu
grep -q 'welcome to the larder, bazel' shapes/transcript.txt
grep -q bottom shapes/listing.txt
