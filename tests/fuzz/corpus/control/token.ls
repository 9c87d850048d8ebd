token.ls
{}
