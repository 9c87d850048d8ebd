SELECT digest, model, version, arch, size, pushed_ms, manifest FROM releases WHERE digest = ?1
