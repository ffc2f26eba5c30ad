"""EVerest as SECC, over its MQTT API: we are its power supply, board support, insulation monitor and power meter."""
