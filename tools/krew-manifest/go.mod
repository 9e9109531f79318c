module github.com/imageclean/kubectl-imageclean/tools/krew-manifest

go 1.26.0
