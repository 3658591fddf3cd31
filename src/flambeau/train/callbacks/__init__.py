"""What rides along with the loop: one idea a file."""
