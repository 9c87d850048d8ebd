deployment.ls
{}
