"""How a result is corrected and signed off by people; nothing recorded here is ever changed or removed."""
