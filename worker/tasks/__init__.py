"""One module for each kind of task: pure given its spec, its blobs and the device."""
