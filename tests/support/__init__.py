"""What tests are built from: values, worlds, processes and documents."""
