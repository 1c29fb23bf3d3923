#include "cc/greeting.h"

int main() {
  const bool right = greeting("fox") == "welcome to the larder, fox" &&
                     farewell("fox") == "the larder is closed, fox";
  return right ? 0 : 1;
}
