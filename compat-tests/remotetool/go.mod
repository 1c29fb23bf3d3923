module larder.test/remotetool

go 1.21

require github.com/bazelbuild/remote-apis-sdks v0.0.0-20231114220034-042d9851eb28
