SELECT name, spec, base, created_ms, changed_ms FROM deployments ORDER BY name
