#include "cc/greeting.h"

#include "cc/words.h"

std::string greeting(const std::string& name) {
  return "welcome to the " LARDER_WORD ", " + name;
}
