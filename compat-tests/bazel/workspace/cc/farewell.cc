#include "cc/greeting.h"

#include "cc/words.h"

std::string farewell(const std::string& name) {
  return "the " LARDER_WORD " is closed, " + name;
}
