#include <iostream>

#include "cc/greeting.h"

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "world";
  std::cout << greeting(name) << "\n" << farewell(name) << "\n";
}
