module onebyte.dev/pause

go 1.24
