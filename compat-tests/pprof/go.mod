module larder.test/pprof

go 1.23

require github.com/google/pprof v0.0.0-20250403155104-27863c87afa6

require (
	github.com/chzyer/readline v1.5.1 // indirect
	github.com/ianlancetaylor/demangle v0.0.0-20240312041847-bd984b5ce465 // indirect
	golang.org/x/sys v0.6.0 // indirect
)
