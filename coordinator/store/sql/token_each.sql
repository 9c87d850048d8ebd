SELECT id, secret, uses_left, approval, created_ms, expires_ms, labels FROM tokens ORDER BY id
