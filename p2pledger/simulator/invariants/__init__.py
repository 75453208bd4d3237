"""What must hold of the modules' books, kept anew from the accepted transactions. Floor 8."""
