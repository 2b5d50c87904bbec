"""What confines a child: namespaces, seccomp, Landlock, cgroup, and the zygote that forks it."""
