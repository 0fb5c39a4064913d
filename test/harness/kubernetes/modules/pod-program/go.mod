module longshore.test/pod-program

go 1.24
