"""Operations that a registry does by itself: list them, pause and resume, set how often, do one now."""

from typing import Annotated

from fastapi import Path

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.service.operations import operations as service
from deltareg.wire import OperationChange, OperationInfo, OperationList

router = closed_router("upkeep")

OperationKind = Annotated[str, Path(max_length=40)]


@router.get("/operations")
def list_operations(registry: InRegistry, by: By) -> OperationList:
    """List operations by name, with what is under way and what came of the last round."""
    return OperationList(items=service.list_operations(registry, by))


@router.get("/operations/{operation}")
def show_operation(registry: InRegistry, by: By, operation: OperationKind) -> OperationInfo:
    """Show an operation."""
    return service.show_operation(registry, by, operation)


@router.patch("/operations/{operation}")
def change_operation(registry: InRegistry, by: By, operation: OperationKind, body: OperationChange) -> OperationInfo:
    """Pause, resume or set an operation, or ask for it now."""
    return service.change_operation(registry, by, operation, body)
