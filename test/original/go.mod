module original

go 1.26
