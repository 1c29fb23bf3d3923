// Writes SIZE bytes, the same on every machine: blocks of 64 KiB, by turns
// incompressible (xorshift) and very compressible (one line again and again).

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  constexpr std::size_t kBlockBytes = 64 * 1024;
  const std::string line = "the quick brown fox jumps over the lazy dog\n";
  std::size_t left = std::strtoull(argv[2], nullptr, 10);
  std::ofstream out(argv[1], std::ios::binary);
  std::uint64_t state = 0x9e3779b97f4a7c15;
  std::string block(kBlockBytes, '\0');
  for (bool random = true; left > 0; random = !random) {
    for (std::size_t i = 0; i < kBlockBytes; ++i) {
      if (random) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block[i] = static_cast<char>(state >> 32);
      } else {
        block[i] = line[i % line.size()];
      }
    }
    const std::size_t size = std::min(left, kBlockBytes);
    out.write(block.data(), static_cast<std::streamsize>(size));
    left -= size;
  }
  out.close();
  return out ? 0 : 1;
}
