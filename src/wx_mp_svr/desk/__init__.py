"""What stands on the developer's desk: command line, diagnosis, simulator. The core never imports it."""
