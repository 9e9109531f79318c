module github.com/imageclean/kubectl-imageclean/tools/licences

go 1.26.0
