rollout.ls
{}
