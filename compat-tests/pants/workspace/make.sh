# Makes outputs that differ from run to run, so that only a cache can make the same ones twice. Pants races the process against the
# cache, so that it takes long enough to lose.
sleep 5
mkdir -p tree/sub
seq 1000000 > tree/sub/large.txt
: > tree/sub/empty
cp greeting.txt tree/greeting.txt
date +%s.%N > when.txt
