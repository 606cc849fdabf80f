"""Windows of a case: cutting, prediction and blending."""
