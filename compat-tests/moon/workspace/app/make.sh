# Makes outputs that differ from run to run, so that only a cache can make the same ones twice.
mkdir -p out/sub
seq -f 'line %.0f of the output' 200000 > out/large.txt
cp greeting.txt out/small.txt
cp make.sh out/sub/script.sh
chmod +x out/sub/script.sh
: > out/empty
date +%s.%N > out/when.txt
echo "made from $(cat greeting.txt)"
