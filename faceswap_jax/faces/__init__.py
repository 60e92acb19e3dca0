"""Pictures, clips, sound, landmarks, pose, alignment, blending. No JAX here."""
