"""The lesions of a case: found or listed, and measured in every sample."""
