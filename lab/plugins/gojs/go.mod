module gojs

go 1.26
