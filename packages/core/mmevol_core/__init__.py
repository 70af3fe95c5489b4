"""What every stage shares: records, stages, errors, images, the chat client. Imports no torch."""
