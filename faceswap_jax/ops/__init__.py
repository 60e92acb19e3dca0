"""Operations on arrays that networks, losses and tasks share."""
