CREATE INDEX release_objects_by_release ON release_objects (release)
