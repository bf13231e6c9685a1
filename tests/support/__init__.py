"""What tests and the real-server demonstration share: servers, faults, provisioning."""
